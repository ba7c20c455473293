{{/*
secret-sync.role is the Role and the RoleBinding that `secret-sync rbac ACCOUNT` prints:
  {{ include "secret-sync.role" (dict "root" . "account" "app") }}
*/}}
{{- define "secret-sync.role" -}}
{{- $v := index .root.Values "secret-sync" -}}
{{- $name := ternary "secret-sync" (printf "secret-sync-%s" .account) (eq .account "secret-sync") -}}
{{- $names := concat $v.secrets $v.optionalSecrets | uniq | sortAlpha -}}
{{- $selector := get $v.env "SECRETSYNC_SELECTOR" -}}
{{- if not (or $names $selector) }}{{ fail "secret-sync: secret-sync.secrets is empty: list the Secrets to watch" }}{{ end -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {app.kubernetes.io/name: secret-sync, app.kubernetes.io/instance: {{ .root.Release.Name }}}
rules:
{{- if $selector }}
# RBAC cannot filter by label, so a selector needs access to every Secret in the namespace.
- {apiGroups: [""], resources: [secrets], verbs: [list, watch]}
{{- else }}
- {apiGroups: [""], resources: [secrets], resourceNames: {{ toJson $names }}, verbs: [list, watch]}
{{- end }}
{{- if eq (get $v.env "SECRETSYNC_EVENTS") "true" }}
- {apiGroups: [""], resources: [events], verbs: [create]}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {app.kubernetes.io/name: secret-sync, app.kubernetes.io/instance: {{ .root.Release.Name }}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
subjects:
- {kind: ServiceAccount, name: {{ .account }}, namespace: {{ .root.Release.Namespace }}}
{{- end }}
