{{/*
The sidecar for a chart of your own. Every template takes the root context (`.`) of that chart and
reads its values below `entrapool:`. docs/kubernetes.md shows where each belongs.
*/}}

{{- define "entrapool.image" -}}
{{- $image := .Values.entrapool.image -}}
{{- $repository := required "entrapool.image.repository is empty: no image is published yet, so build one with deploy/Dockerfile and name it" $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{/* An item of initContainers. Put it first: whatever follows may use the database. */}}
{{- define "entrapool.initContainer" -}}
{{- $values := .Values.entrapool -}}
name: entrapool
image: {{ include "entrapool.image" . | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
# A native sidecar: ready before the application starts, stopped after it has ended.
restartPolicy: Always
args:
  - --config=/etc/entrapool/entrapool.toml
  # Probes and Prometheus come to the pod's address. It only reads.
  - --http=0.0.0.0:{{ $values.httpPort }}
  - --log-format=json
{{- with $values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: entrapool-http
    containerPort: {{ $values.httpPort }}
startupProbe:
  httpGet:
    path: /startup
    port: entrapool-http
  {{- toYaml $values.startupProbe | nindent 2 }}
livenessProbe:
  httpGet:
    path: /liveness
    port: entrapool-http
  {{- toYaml $values.livenessProbe | nindent 2 }}
{{- with $values.readinessProbe }}
readinessProbe:
  httpGet:
    path: /readiness
    port: entrapool-http
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $values.runAsUser }}
  runAsGroup: {{ $values.runAsUser }}
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
volumeMounts:
  - name: entrapool-config
    mountPath: /etc/entrapool
    readOnly: true
{{- if $values.sockets.enabled }}
  - name: entrapool-sockets
    mountPath: {{ $values.sockets.mountPath }}
{{- end }}
{{- with $values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Items of volumes. */}}
{{- define "entrapool.volumes" -}}
{{- $values := .Values.entrapool -}}
- name: entrapool-config
  configMap:
    name: {{ include "entrapool.configMapName" . }}
{{- if $values.sockets.enabled }}
- name: entrapool-sockets
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with $values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An item of the application's volumeMounts, if it uses the socket. */}}
{{- define "entrapool.socketMount" -}}
name: entrapool-sockets
mountPath: {{ .Values.entrapool.sockets.mountPath }}
{{- end -}}

{{/* The pod's labels: for the PodMonitor, the NetworkPolicy and the workload identity webhook. */}}
{{- define "entrapool.podLabels" -}}
entrapool-sidecar: "true"
{{- if .Values.entrapool.workloadIdentity.enabled }}
azure.workload.identity/use: "true"
{{- end }}
{{- end -}}

{{/* The pod's annotations: who gets no token, and a new pod for a new configuration. */}}
{{- define "entrapool.podAnnotations" -}}
{{- $values := .Values.entrapool -}}
{{- if $values.workloadIdentity.enabled -}}
{{- if not $values.workloadIdentity.skipContainers -}}
{{- fail "entrapool.workloadIdentity.skipContainers is empty: name the pod's other containers, or each of them can take the token" -}}
{{- end -}}
azure.workload.identity/skip-containers: {{ join ";" $values.workloadIdentity.skipContainers | quote }}
{{ end -}}
checksum/entrapool-config: {{ sha256sum $values.config }}
{{- end -}}

{{/* The pod's securityContext: its group may use the socket. */}}
{{- define "entrapool.podSecurityContext" -}}
fsGroup: {{ .Values.entrapool.socketGroup }}
{{- end -}}

{{- define "entrapool.configMapName" -}}
{{ .Release.Name }}-entrapool
{{- end -}}

{{/* A whole ConfigMap. */}}
{{- define "entrapool.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "entrapool.configMapName" . }}
data:
  entrapool.toml: |
    {{- required "entrapool.config is empty: it is the text of entrapool.toml, with a [[route]]" .Values.entrapool.config | trim | nindent 4 }}
{{- end -}}

{{/* A whole NetworkPolicy for pods with the sidecar. */}}
{{- define "entrapool.networkPolicy" -}}
{{- $values := .Values.entrapool -}}
{{- $policy := $values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .Release.Name }}-entrapool
spec:
  podSelector:
    matchLabels:
      entrapool-sidecar: "true"
      app.kubernetes.io/instance: {{ .Release.Name }}
  policyTypes: [Ingress, Egress]
  ingress:
    # Metrics. The kubelet's probes come from the node, which no policy stops.
    - from:
        - namespaceSelector:
            {{- toYaml $policy.scrapeFrom | nindent 12 }}
      ports:
        - port: {{ $values.httpPort }}
    {{- with $policy.appPorts }}
    - ports:
        {{- range . }}
        - port: {{ . }}
        {{- end }}
    {{- end }}
  egress:
    - ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
    {{- range $policy.databases }}
    - to:
        - ipBlock:
            cidr: {{ .cidr }}
      ports:
        {{- range .ports }}
        - port: {{ . }}
        {{- end }}
        {{- range .ranges }}
        - port: {{ .from }}
          endPort: {{ .to }}
        {{- end }}
    {{- end }}
    {{- if $policy.entra.enabled }}
    # login.microsoftonline.com and its like.
    - to:
        - ipBlock:
            cidr: {{ $policy.entra.cidr }}
      ports:
        - port: 443
    {{- end }}
    {{- if $policy.imds.enabled }}
    - to:
        - ipBlock:
            cidr: 169.254.169.254/32
      ports:
        - port: 80
    {{- end }}
{{- end -}}
