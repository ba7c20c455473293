//go:build kubelet

package kubelet

import "strings"

// The manifests missing in the cases.
const (
	role = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: app}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secret-sync-app}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [db], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secret-sync-app}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secret-sync-app}
subjects: [{kind: ServiceAccount, name: app, namespace: NAMESPACE}]
`
	spec = `
      serviceAccountName: app
      restartPolicy: RESTART
      initContainers:
      - name: secret-sync
        image: secret-sync:latest
        restartPolicy: Always
        env:
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: SECRETSYNC_SECRETS, value: db}
        startupProbe: {exec: {command: [/secret-sync, ready]}, periodSeconds: 1, failureThreshold: 300}
        volumeMounts: [{name: secrets, mountPath: /secrets}]
      containers:
      - name: app
        image: app:1
        volumeMounts: [{name: secrets, mountPath: /secrets, readOnly: true}]
      volumes:
      - {name: secrets, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
`
)

var (
	job = `
apiVersion: batch/v1
kind: Job
metadata: {name: app}
spec:
  template:
    metadata: {labels: {app: app}}
    spec:` + strings.Replace(spec, "RESTART", "Never", 1)
	deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:` + strings.Replace(spec, "RESTART", "Always", 1)
)
