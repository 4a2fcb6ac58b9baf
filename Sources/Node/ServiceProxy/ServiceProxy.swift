// Services and EndpointSlices become nftables elements. Nothing here runs pods or moves packets itself.
