// Level-triggered reconcilers from API objects to API objects. No kernel, no files.
