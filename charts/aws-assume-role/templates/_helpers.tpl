{{/* One fixed name for everything, because people refer to the operator's ServiceAccount in AWS. */}}
{{- define "aws-assume-role.name" -}}aws-assume-role-controller{{- end }}

{{/* The selector of the 1.x operators, so that an upgrade from them keeps the Deployment: a selector is immutable. */}}
{{- define "aws-assume-role.selector" -}}
apps.kubernetes.io/name: {{ include "aws-assume-role.name" . }}
{{- end }}

{{- define "aws-assume-role.labels" -}}
{{ include "aws-assume-role.selector" . }}
app.kubernetes.io/name: aws-assume-role
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The container's environment. extraEnv comes last and replaces variables of the chart: server-side apply rejects duplicate names. */}}
{{- define "aws-assume-role.environment" -}}
{{- $theirs := list }}
{{- range .Values.extraEnv }}
{{- $theirs = append $theirs .name }}
{{- end }}
{{- $environment := list }}
{{- range include "aws-assume-role.ownEnvironment" . | fromYamlArray }}
{{- if not (has .name $theirs) }}
{{- $environment = append $environment . }}
{{- end }}
{{- end }}
{{- toYaml (concat $environment (.Values.extraEnv | default list)) }}
{{- end }}

{{- define "aws-assume-role.ownEnvironment" -}}
{{- /* The reporting instance of events, and the holder of the Lease. */}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: LEADER_ELECTION_LEASE_NAME
  value: {{ include "aws-assume-role.name" . }}
- name: LOG_FORMAT
  value: {{ .Values.log.format | quote }}
- name: RUST_LOG
  value: {{ .Values.log.level | quote }}
- name: HTTP_ADDRESS
  value: {{ printf "[::]:%d" (int .Values.http.port) | quote }}
- name: AWS_CALL_RATE
  value: {{ .Values.awsCalls.perSecond | quote }}
- name: AWS_CALL_CONCURRENCY
  {{- /* atTheSameTime is the old name of maxConcurrent. It wins if it is set, until the next major version. */}}
  value: {{ default .Values.awsCalls.maxConcurrent .Values.awsCalls.atTheSameTime | quote }}
- name: UPGRADE_CRD
  value: {{ .Values.crd.upgrade | quote }}
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_SERVICE_NAME
  value: {{ .serviceName | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "aws-assume-role.resourceAttributes" . | quote }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
{{- if (.headersSecret).name }}
{{- if .headers }}
{{- fail "tracing.headers and tracing.headersSecret exclude each other: put all headers into the Secret" }}
{{- end }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name | quote }}
      key: {{ required "tracing.headersSecret.key is missing" .headersSecret.key | quote }}
      optional: true
{{- else if .headers }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  value: {{ include "aws-assume-role.headers" .headers | quote }}
{{- end }}
{{- if and (or ((.tls).authorities).configMap (.tls).clientSecret) (hasPrefix "http://" .endpoint) }}
{{- fail "tracing.tls is of use with an https endpoint only: set tracing.endpoint to https://..." }}
{{- end }}
{{- if ((.tls).authorities).configMap }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/collector-authorities/ca.crt
{{- end }}
{{- if (.tls).clientSecret }}
- name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
  value: /etc/collector-client/tls.crt
- name: OTEL_EXPORTER_OTLP_CLIENT_KEY
  value: /etc/collector-client/tls.key
{{- end }}
{{- if ne (toString .sampler) "" }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler | quote }}
{{- end }}
{{- /* Not "with", because 0 is a value too. */}}
{{- if ne (toString .samplerArg) "" }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplerArg | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The volumes of the pod: the certificates for the trace collector. They are optional: without them there are no traces, but the operator works. */}}
{{- define "aws-assume-role.volumes" -}}
{{- with .Values.tracing }}
{{- if and .endpoint ((.tls).authorities).configMap }}
- name: collector-authorities
  configMap:
    name: {{ .tls.authorities.configMap | quote }}
    optional: true
    items:
      - key: {{ required "tracing.tls.authorities.key is missing" .tls.authorities.key | quote }}
        path: ca.crt
{{- end }}
{{- if and .endpoint (.tls).clientSecret }}
- name: collector-client
  secret:
    secretName: {{ .tls.clientSecret | quote }}
    optional: true
{{- end }}
{{- end }}
{{- end }}

{{/* Not all replicas on one node or in one zone, if there is another. Those of an earlier revision do not count. */}}
{{- define "aws-assume-role.topologySpreadConstraints" -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "aws-assume-role.selector" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* key=value,... with percent-encoded values. urlquery encodes a space as "+", which would be decoded as a plus sign. */}}
{{- define "aws-assume-role.headers" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}
{{- $pairs = append $pairs (printf "%s=%s" $key (urlquery $value | replace "+" "%20")) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{/* key=value,... without encoding: the operator does not decode these, so a comma would start the next attribute. */}}
{{- define "aws-assume-role.resourceAttributes" -}}
{{- $pairs := list }}
{{- range $key, $value := .resourceAttributes }}
{{- if or (contains "," (toString $value)) (contains "," $key) (contains "=" $key) }}
{{- fail (printf "tracing.resourceAttributes: %s has a character that cannot be passed on, a comma or an equals sign in its name" $key) }}
{{- end }}
{{- $pairs = append $pairs (printf "%s=%v" $key $value) }}
{{- end }}
{{- $pairs = concat $pairs (list "k8s.namespace.name=$(POD_NAMESPACE)" "k8s.pod.name=$(POD_NAME)") }}
{{- join "," $pairs }}
{{- end }}
