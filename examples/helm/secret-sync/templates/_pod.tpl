{{/* secret-sync.container is the native sidecar: the first item of initContainers. */}}
{{- define "secret-sync.container" -}}
{{- $v := index .Values "secret-sync" -}}
- name: secret-sync
  image: {{ printf "%s:%s" $v.image.repository $v.image.tag | quote }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  restartPolicy: Always
  env:
  - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
  {{- with $v.secrets }}
  - {name: SECRETSYNC_SECRETS, value: {{ join "," . | quote }}}
  {{- end }}
  {{- with $v.optionalSecrets }}
  - {name: SECRETSYNC_OPTIONAL_SECRETS, value: {{ join "," . | quote }}}
  {{- end }}
  {{- with $v.process }}
  - {name: SECRETSYNC_PROCESS, value: {{ . | quote }}}
  {{- end }}
  {{- with $v.webhookURL }}
  - {name: SECRETSYNC_WEBHOOK_URL, value: {{ . | quote }}}
  {{- end }}
  {{- range $name, $value := $v.env }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  startupProbe: # the app starts once the volume contains all files
    exec: {command: [/secret-sync, ready]}
    periodSeconds: 1
    failureThreshold: 300
  ports:
  - {name: secret-sync, containerPort: 29808}
  resources: {{- toYaml $v.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
  - {name: secret-sync, mountPath: /secrets}
  - {name: secret-sync-api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* secret-sync.mount is an item of volumeMounts. Add it to each container that reads the files. */}}
{{- define "secret-sync.mount" -}}
- {name: secret-sync, mountPath: {{ index .Values "secret-sync" "mountPath" | quote }}, readOnly: true}
{{- end }}

{{/* secret-sync.volumes are two items of volumes: the files and the sidecar's token. */}}
{{- define "secret-sync.volumes" -}}
- name: secret-sync
  emptyDir: {medium: Memory, sizeLimit: {{ index .Values "secret-sync" "volumeSize" | quote }}}
- name: secret-sync-api
  projected:
    sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{/* secret-sync.spec contains fields of the Pod spec. Only the sidecar gets a token. */}}
{{- define "secret-sync.spec" -}}
automountServiceAccountToken: false
{{- if index .Values "secret-sync" "process" }}
shareProcessNamespace: true # the sidecar signals the app's process
{{- end }}
{{- end }}
