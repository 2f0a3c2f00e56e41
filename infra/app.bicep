// The function app on Flex Consumption, and every setting that it has. A setting that is not here is not set:
// a deployment replaces them all.
param token string
param location string
param tags object
param identityId string
param identityClientId string
param hostAccountName string
param packagesUrl string
param rollupTableUri string
param rollupBlobUri string
param hubHostName string
param hubName string
param consumerGroup string
param insightsConnectionString string
param apiAuthLevel string
param jobBuckets int
param retentionDays int
param retentionSchedule string
param openTelemetry string
param maximumInstances int
param instanceMemoryMB int
param alwaysReadyInstances int

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-${token}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packagesUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemoryMB
        alwaysReady: alwaysReadyInstances == 0 ? [] : [
          {
            name: 'function:ingest'
            instanceCount: alwaysReadyInstances
          }
        ]
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
    }
  }
}

var settingsAlways = {
  AzureWebJobsStorage__accountName: hostAccountName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  EventHubName: hubName
  EventHubConsumerGroup: consumerGroup
  EventHubConnection__fullyQualifiedNamespace: hubHostName
  EventHubConnection__credential: 'managedidentity'
  EventHubConnection__clientId: identityClientId
  RollupStorage__tableServiceUri: rollupTableUri
  RollupStorage__blobServiceUri: rollupBlobUri
  RollupStorage__clientId: identityClientId
  ApiAuthLevel: apiAuthLevel
  JobBuckets: string(jobBuckets)
  RetentionDays: string(retentionDays)
  RetentionSchedule: retentionSchedule
}

// Host and worker by OpenTelemetry, or neither; nothing sampled, since the alerts count log lines (docs/telemetry.md).
var settingsOfTelemetry = {
  AzureFunctionsJobHost__telemetryMode: 'OpenTelemetry'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
  OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: 'azure_sdk,requests,urllib,urllib3'
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: '1.0'
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: site
  name: 'appsettings'
  properties: union(settingsAlways, empty(openTelemetry) ? {} : settingsOfTelemetry)
}

// Publishing goes by Entra ID; these are the two passwords that every site has.
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'ftp'
  properties: { allow: false }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: site
  name: 'scm'
  properties: { allow: false }
}

output name string = site.name
output dashboardUrl string = 'https://${site.properties.defaultHostName}/api/dashboard'
