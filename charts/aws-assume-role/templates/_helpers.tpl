{{/*
One fixed name for everything, because people refer to the operator's ServiceAccount in AWS. Every template needs it, so this is also where it
shows that the values are those of another chart.
*/}}
{{- define "aws-assume-role.name" -}}
{{- range list "admissionPolicy" "aws" "awsCalls" "crd" "http" "image" "log" "metrics" "networkPolicy" "rbac" "serviceAccount" "serviceAccountTokens" "tenancy" "tracing" }}
{{- if not (kindIs "map" (get $.Values .)) }}
{{- fail (printf "%s is missing in the values. Those of an earlier release lack it: use --reset-then-reuse-values instead of --reuse-values" .) }}
{{- end }}
{{- end -}}
aws-assume-role-controller{{- end }}

{{/*
What the names of cluster-scoped objects end with. An operator of the whole cluster is the only one, so its objects have the fixed name, and
Helm refuses a second one. Operators of some namespaces may be several. Their objects carry the namespace of their release, since there is
one release in a namespace. No namespace has a dot in its name, so no two names are the same.
*/}}
{{- define "aws-assume-role.suffix" -}}
{{- if include "aws-assume-role.watchNamespaces" . | fromYamlArray }}.{{ .Release.Namespace }}{{ end }}
{{- end }}

{{/* The name of cluster-scoped objects. */}}
{{- define "aws-assume-role.clusterScopedName" -}}
{{ include "aws-assume-role.name" . }}{{ include "aws-assume-role.suffix" . }}
{{- end }}

{{/* The namespaces to watch, checked, as YAML. Empty: all. */}}
{{- define "aws-assume-role.watchNamespaces" -}}
{{- $namespaces := .Values.watchNamespaces | default list }}
{{- if not (kindIs "slice" $namespaces) }}
{{- fail "watchNamespaces is not a list: write watchNamespaces: [team-a, team-b]" }}
{{- end }}
{{- $names := list }}
{{- range $namespaces }}
{{- $name := toString . }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) }}
{{- fail (printf "watchNamespaces: %q is not the name of a namespace. Patterns are not supported: name each namespace" $name) }}
{{- end }}
{{- $names = append $names $name }}
{{- end }}
{{- toYaml (uniq $names) }}
{{- end }}

{{/* The subject of all bindings. */}}
{{- define "aws-assume-role.subjects" -}}
- kind: ServiceAccount
  name: {{ include "aws-assume-role.name" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* What the operator does in the namespaces that it serves. */}}
{{- define "aws-assume-role.namespacedRules" -}}
- apiGroups: [pincette.net]
  resources: [awsassumeroles]
  verbs: [get, list, watch]
- apiGroups: [pincette.net]
  resources: [awsassumeroles/status]
  verbs: [patch]
# The operator reads only the metadata of Secrets. It writes their content and never reads it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# What happens to a resource is recorded as events on it. If the same thing happens again, the count of the first event is raised.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.serviceAccountTokens.enabled }}
# The tokens to assume a role with, for resources that name a ServiceAccount.
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
{{- end }}

{{/*
Whether the operator keeps the definition of AWSAssumeRole up to date. Operators of some namespaces share it, and whoever may change it can do
so to the resources of all, so one of them has that right only if it is told to.
*/}}
{{- define "aws-assume-role.upgradesDefinition" -}}
{{- $upgrade := toString .Values.crd.upgrade }}
{{- if not (has $upgrade (list "auto" "true" "false")) }}
{{- fail (printf "crd.upgrade is %q: write auto, true or false" $upgrade) }}
{{- end }}
{{- if or (eq $upgrade "true") (and (eq $upgrade "auto") (not (include "aws-assume-role.suffix" .))) }}true{{ end }}
{{- end }}

{{/* What the operator may do to what is no namespace's, wherever it serves resources. */}}
{{- define "aws-assume-role.clusterRules" -}}
# Which namespaces may have which roles.
- apiGroups: [pincette.net]
  resources: [awsassumerolepolicies]
  verbs: [list, watch]
{{- if include "aws-assume-role.upgradesDefinition" . }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [awsassumeroles.pincette.net]
  verbs: [get, update]
{{- end }}
{{- end }}

{{/*
Whether the admission policies are installed. Where the chart is rendered without a cluster no kind is known, not even Secret. Every version
of Kubernetes that the chart supports has them then.
*/}}
{{- define "aws-assume-role.hasAdmissionPolicy" -}}
{{- $enabled := toString .Values.admissionPolicy.enabled }}
{{- if not (has $enabled (list "auto" "true" "false")) }}
{{- fail (printf "admissionPolicy.enabled is %q: write auto, true or false" $enabled) }}
{{- end }}
{{- $known := .Capabilities.APIVersions }}
{{- $has := or ($known.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") (not ($known.Has "v1/Secret")) }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $has) }}true{{ end }}
{{- end }}

{{/*
The other release that the policies' definition in the cluster belongs to: "r in the namespace n". This release then leaves it out, since
Helm refuses to install what another release has. Empty if there is none, and where the chart is rendered without a cluster.

A definition that belongs to no release is no reason to leave it out. If this release had it before, Helm would delete it, and all policies
with it: it may have lost the annotation that keeps it together with those that say whose it is.
*/}}
{{- define "aws-assume-role.definitionOwner" -}}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "awsassumerolepolicies.pincette.net" }}
{{- $annotations := .metadata.annotations | default dict }}
{{- $name := get $annotations "meta.helm.sh/release-name" }}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" }}
{{- $isHelms := eq (get (.metadata.labels | default dict) "app.kubernetes.io/managed-by") "Helm" }}
{{- if not (and $isHelms $name) }}
{{- fail (printf "the definition awsassumerolepolicies.pincette.net is in the cluster and belongs to no release. Let this release have it:\n%s\nOr set crd.install=false, and have Helm keep it:\nkubectl annotate crd awsassumerolepolicies.pincette.net helm.sh/resource-policy=keep --overwrite" (include "aws-assume-role.handOver" $)) }}
{{- end }}
{{- if or (ne $name $.Release.Name) (ne $namespace $.Release.Namespace) }}{{ $name }} in the namespace {{ $namespace }}{{ end }}
{{- end }}
{{- end }}

{{/* How to let this release have the policies' definition. */}}
{{- define "aws-assume-role.handOver" -}}
kubectl label crd awsassumerolepolicies.pincette.net app.kubernetes.io/managed-by=Helm --overwrite
kubectl annotate crd awsassumerolepolicies.pincette.net meta.helm.sh/release-name={{ .Release.Name }} meta.helm.sh/release-namespace={{ .Release.Namespace }} --overwrite
{{- end }}

{{/* The selector of the 1.x operators, so that an upgrade from them keeps the Deployment: a selector is immutable. */}}
{{- define "aws-assume-role.selector" -}}
apps.kubernetes.io/name: {{ include "aws-assume-role.name" . }}
{{- end }}

{{- define "aws-assume-role.labels" -}}
{{ include "aws-assume-role.selector" . }}
app.kubernetes.io/name: aws-assume-role
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- /* A label has no plus sign, and a version may have one. */}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | quote }}
{{- end }}

{{- define "aws-assume-role.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
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
  value: {{ include "aws-assume-role.upgradesDefinition" . | default "false" | quote }}
{{- with include "aws-assume-role.watchNamespaces" . | fromYamlArray }}
- name: WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- include "aws-assume-role.tenancy" .Values.tenancy }}
- name: AWS_INSTANCE_METADATA
  value: {{ .Values.aws.instanceMetadata | quote }}
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

{{- define "aws-assume-role.tenancy" }}
{{- if not (has .unlistedNamespaces (list "Allow" "Deny")) }}
{{- fail (printf "tenancy.unlistedNamespaces is %q: write Allow or Deny" (toString .unlistedNamespaces)) }}
{{- end }}
{{- if not (has .whenWithdrawn (list "Expire" "Delete")) }}
{{- fail (printf "tenancy.whenWithdrawn is %q: write Expire or Delete" (toString .whenWithdrawn)) }}
{{- end }}
- name: UNLISTED_NAMESPACES
  value: {{ .unlistedNamespaces }}
- name: WHEN_WITHDRAWN
  value: {{ .whenWithdrawn }}
{{- $cluster := toString (default "" .clusterName) }}
{{- if $cluster }}
{{- if not (regexMatch "^[A-Za-z0-9_+=,.@/-]+$" $cluster) }}
{{- fail (printf "tenancy.clusterName is %q: write letters, digits and _+=,.@/- only, since it becomes part of an external ID" $cluster) }}
{{- end }}
{{- /* As the operator has it. */}}
{{- if gt (len $cluster) 256 }}
{{- fail (printf "tenancy.clusterName has %d characters: write 256 at most, since it becomes part of an external ID" (len $cluster)) }}
{{- end }}
- name: CLUSTER_NAME
  value: {{ $cluster | quote }}
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

{{/* Not all replicas on one node, if there is another. Those of an earlier revision do not count. */}}
{{- define "aws-assume-role.topologySpreadConstraints" -}}
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "aws-assume-role.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}

{{/* Nor in one zone. This is no second constraint, since the scheduler passes over all of them on nodes that lack the label of one. */}}
{{- define "aws-assume-role.affinity" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels: {{- include "aws-assume-role.selector" . | nindent 12 }}
        matchLabelKeys: [pod-template-hash]
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

{{/* TCP ports of a NetworkPolicy. */}}
{{- define "aws-assume-role.tcpPorts" -}}
{{- $ports := list }}
{{- range . }}
{{- $ports = append $ports (dict "port" (int .) "protocol" "TCP") }}
{{- end }}
{{- toYaml $ports }}
{{- end }}

{{/* The port of a URL, or else that of its scheme. */}}
{{- define "aws-assume-role.portOf" -}}
{{- $url := urlParse . }}
{{- default (ternary 443 80 (eq $url.scheme "https")) (regexFind ":[0-9]+$" $url.host | trimPrefix ":") }}
{{- end }}
