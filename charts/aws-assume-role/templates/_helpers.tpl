{{/* The one name of everything: the operator's ServiceAccount is part of what people configure in AWS. */}}
{{- define "aws-assume-role.name" -}}aws-assume-role-controller{{- end }}

{{/* The selector is that of the operators before, so that an upgrade from them keeps the Deployment: a selector cannot change. */}}
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
