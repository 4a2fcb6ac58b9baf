import JSON

/// What runs pods.
enum WorkloadDefaults {
    static func deployment(_ deployment: inout JSONObject) {
        deployment.ensuring("spec") { spec in
            spec.setDefault("replicas", 1)
            spec.setDefault("revisionHistoryLimit", 10)
            spec.setDefault("progressDeadlineSeconds", 600)
            spec.ensuring("strategy") { strategy in
                strategy.setDefault("type", "RollingUpdate")
                guard strategy.string("type") == "RollingUpdate" else { return }
                strategy.ensuring("rollingUpdate") { update in
                    update.setDefault("maxUnavailable", "25%")
                    update.setDefault("maxSurge", "25%")
                }
            }
            spec.within("template", PodDefaults.template)
        }
    }

    static func replicaSet(_ set: inout JSONObject) {
        set.ensuring("spec") { spec in
            spec.setDefault("replicas", 1)
            spec.within("template", PodDefaults.template)
        }
    }

    /// The oldest of them: its selector and its labels are its template's.
    static func replicationController(_ controller: inout JSONObject) {
        let labels = controller["spec"]?["template"]?["metadata"]?["labels"]
        controller.ensuring("spec") { spec in
            spec.setDefault("replicas", 1)
            if let labels { spec.setDefault("selector", labels) }
            spec.within("template", PodDefaults.template)
        }
        if let labels { controller.ensuring("metadata") { $0.setDefault("labels", labels) } }
    }

    static func statefulSet(_ set: inout JSONObject) {
        set.ensuring("spec") { spec in
            spec.setDefault("replicas", 1)
            spec.setDefault("revisionHistoryLimit", 10)
            spec.setDefault("podManagementPolicy", "OrderedReady")
            spec.ensuring("updateStrategy") { strategy in
                strategy.setDefault("type", "RollingUpdate")
                guard strategy.string("type") == "RollingUpdate" else { return }
                strategy.ensuring("rollingUpdate") { $0.setDefault("partition", 0) }
            }
            spec.ensuring("persistentVolumeClaimRetentionPolicy") { policy in
                policy.setDefault("whenDeleted", "Retain")
                policy.setDefault("whenScaled", "Retain")
            }
            spec.within("template", PodDefaults.template)
            spec.each("volumeClaimTemplates") { claim in
                claim.setDefault("apiVersion", "v1")
                claim.setDefault("kind", "PersistentVolumeClaim")
                ClusterDefaults.persistentVolumeClaim(&claim)
            }
        }
    }

    static func daemonSet(_ set: inout JSONObject) {
        set.ensuring("spec") { spec in
            spec.setDefault("revisionHistoryLimit", 10)
            spec.ensuring("updateStrategy") { strategy in
                strategy.setDefault("type", "RollingUpdate")
                guard strategy.string("type") == "RollingUpdate" else { return }
                strategy.ensuring("rollingUpdate") { update in
                    update.setDefault("maxUnavailable", 1)
                    update.setDefault("maxSurge", 0)
                }
            }
            spec.within("template", PodDefaults.template)
        }
    }

    static func job(_ job: inout JSONObject) {
        let labels = job["spec"]?["template"]?["metadata"]?["labels"]
        job.ensuring("spec") { spec in
            if spec["completions"] == nil, spec["parallelism"] == nil { spec["completions"] = 1 }
            spec.setDefault("parallelism", 1)
            // With a limit per index the one of the whole job must not come first.
            spec.setDefault("backoffLimit", spec["backoffLimitPerIndex"] == nil ? 6 : .int(Int64(Int32.max)))
            spec.setDefault("completionMode", "NonIndexed")
            spec.setDefault("suspend", false)
            spec.setDefault("manualSelector", false)
            spec.setDefault(
                "podReplacementPolicy", spec["podFailurePolicy"] == nil ? "TerminatingOrFailed" : "Failed")
            spec.within("podFailurePolicy") {
                $0.each("rules") { $0.each("onPodConditions") { $0.setDefault("status", "True") } }
            }
            spec.within("template", PodDefaults.template)
        }
        if let labels { job.ensuring("metadata") { $0.setDefault("labels", labels) } }
    }

    static func cronJob(_ cronJob: inout JSONObject) {
        cronJob.ensuring("spec") { spec in
            spec.setDefault("concurrencyPolicy", "Allow")
            spec.setDefault("suspend", false)
            spec.setDefault("successfulJobsHistoryLimit", 3)
            spec.setDefault("failedJobsHistoryLimit", 1)
            spec.within("jobTemplate") { $0.within("spec") { $0.within("template", PodDefaults.template) } }
        }
    }

    static func horizontalPodAutoscaler(_ autoscaler: inout JSONObject) {
        autoscaler.ensuring("spec") { spec in
            spec.setDefault("minReplicas", 1)
            if spec["metrics"]?.array?.isEmpty ?? true {
                spec["metrics"] = [
                    [
                        "type": "Resource",
                        "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
                    ]
                ]
            }
            spec.within("behavior") { behavior in
                behavior.ensuring("scaleUp") { rules in
                    rules.setDefault("stabilizationWindowSeconds", 0)
                    rules.setDefault("selectPolicy", "Max")
                    rules.setDefault(
                        "policies",
                        [
                            ["type": "Pods", "value": 4, "periodSeconds": 15],
                            ["type": "Percent", "value": 100, "periodSeconds": 15],
                        ])
                }
                behavior.ensuring("scaleDown") { rules in
                    rules.setDefault("selectPolicy", "Max")
                    rules.setDefault("policies", [["type": "Percent", "value": 100, "periodSeconds": 15]])
                }
            }
        }
    }
}
