// All that the app needs in Azure, in one resource group. docs/operations.md explains every parameter.
// The rule: every module is named for what it holds, identities take the place of keys, and every role is
// assigned on the one resource that it is for.
targetScope = 'subscription'

@description('Name of the deployment: in the names of all resources, and in their tag azd-env-name.')
@minLength(1)
@maxLength(32)
param name string

@description('Azure region: that of the Batch account, since a diagnostic setting only writes to a hub in it.')
@minLength(1)
param location string

@description('Resource group for all that is new; it is created where it is missing. Default: rg- and the name.')
param resourceGroupName string = ''

@description('Resource id of an Event Hubs namespace that exists and already has the hub. Default: both are created.')
param hubNamespaceId string = ''

@description('Name of the hub that the Batch account writes to.')
@minLength(1)
param hubName string = 'insights-logs-servicelog'

@description('The consumer group that this app alone reads with. It is created.')
@minLength(1)
@maxLength(50)
param consumerGroup string = 'batch-rollups'

@description('Partitions of the hub: of a new one what it gets, of an existing one what it has.')
@minValue(1)
@maxValue(32)
param partitions int = 4

@description('Days that a new hub keeps its messages: so long may the app stand still and lose nothing.')
@minValue(1)
@maxValue(7)
param hubRetentionDays int = 7

@description('Throughput units of a new namespace at rest. One takes in 1 MB/s.')
@minValue(1)
@maxValue(40)
param throughputUnits int = 1

@description('Throughput units up to which a new namespace inflates by itself; not fewer than it has at rest.')
@minValue(1)
@maxValue(40)
param maximumThroughputUnits int = 4

@description('Whether a new namespace accepts shared access keys. Azure Monitor writes with one: see hub-access.bicep.')
param hubLocalAuth bool = true

@description('Resource id of the Batch account to connect. Default: none, its diagnostic setting is made elsewhere.')
param batchAccountId string = ''

@description('App setting JobBuckets: table partitions that a job is spread over.')
@minValue(1)
@maxValue(32)
param jobBuckets int = 1

@description('App setting RetentionDays: jobs older than so many days are purged. 0: none is.')
@minValue(0)
@maxValue(36500)
param retentionDays int = 0

@description('App setting RetentionSchedule: when that is done, as NCRONTAB with six fields, in UTC.')
@minLength(11)
param retentionSchedule string = '0 30 2 * * *'

@description('App setting ApiAuthLevel: who may read the HTTP API.')
@allowed(['function', 'anonymous'])
param apiAuthLevel string = 'function'

@description('Packages with which host and app send OpenTelemetry, metrics too, to Application Insights. Default: none.')
@allowed(['', 'azure-monitor'])
param openTelemetry string = ''

@description('Most instances of the function app. 0: as many as the hub has partitions, yet 40 at least.')
@minValue(0)
@maxValue(1000)
param maximumInstances int = 0

@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Instances that are kept running for the ingest function. 0: it starts with the first message.')
@minValue(0)
@maxValue(32)
param alwaysReadyInstances int = 0

@description('Copies of the tables and dead letters that Azure Storage keeps.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param rollupRedundancy string = 'Standard_LRS'

@description('Dead letters that nobody has changed for so many days are deleted. 0: none is.')
@minValue(0)
param deadLetterDays int = 0

@description('Where alerts are mailed to. Default: nowhere; they still show in the portal.')
param alertEmail string = ''

@description('Seconds that the newest record of a batch may be old before the consumer-lag alert fires.')
@minValue(60)
param lagSeconds int = 3600

@description('Object id of the Entra group that may read the tables. Default: none.')
param readersGroupId string = ''

var token = toLower(uniqueString(subscription().id, name, location))
var groupName = empty(resourceGroupName) ? 'rg-${name}' : resourceGroupName
var tags = { 'azd-env-name': name }
var newHub = empty(hubNamespaceId)
var namespaceName = newHub ? 'evhns-${token}' : last(split(hubNamespaceId, '/'))
var namespaceSubscription = newHub ? subscription().subscriptionId : split(hubNamespaceId, '/')[2]
var namespaceGroup = newHub ? groupName : split(hubNamespaceId, '/')[4]

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module telemetry 'telemetry.bicep' = {
  name: 'telemetry'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module hub 'hub.bicep' = if (newHub) {
  name: 'hub'
  scope: group
  params: {
    namespaceName: namespaceName
    hubName: hubName
    location: location
    tags: tags
    partitions: partitions
    retentionDays: hubRetentionDays
    throughputUnits: throughputUnits
    maximumThroughputUnits: maximumThroughputUnits
    localAuth: hubLocalAuth
  }
}

module hubAccess 'hub-access.bicep' = {
  name: 'hub-access-${token}'
  scope: resourceGroup(namespaceSubscription, namespaceGroup)
  params: {
    namespaceName: namespaceName
    hubName: hubName
    consumerGroup: consumerGroup
    appPrincipalId: identity.outputs.principalId
    azureMonitorWrites: newHub ? hubLocalAuth : !empty(batchAccountId)
  }
  dependsOn: [hub]
}

module batchLogs 'batch-logs.bicep' = if (!empty(batchAccountId)) {
  name: 'batch-logs-${token}'
  scope: resourceGroup(
    empty(batchAccountId) ? subscription().subscriptionId : split(batchAccountId, '/')[2],
    empty(batchAccountId) ? groupName : split(batchAccountId, '/')[4]
  )
  params: {
    settingName: 'batch-rollups-${token}'
    accountName: last(split(batchAccountId, '/'))
    hubPolicyId: hubAccess.outputs.monitorPolicyId
    hubName: hubName
  }
}

module hostStorage 'host-storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    name: 'sthost${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
  }
}

module rollupStorage 'rollup-storage.bicep' = {
  name: 'rollup-storage'
  scope: group
  params: {
    name: 'strollup${token}'
    location: location
    tags: tags
    redundancy: rollupRedundancy
    deadLetterDays: deadLetterDays
    appPrincipalId: identity.outputs.principalId
    readersGroupId: readersGroupId
  }
}

module app 'app.bicep' = {
  name: 'app'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostAccountName: hostStorage.outputs.name
    packagesUrl: hostStorage.outputs.packagesUrl
    rollupTableUri: rollupStorage.outputs.tableUri
    rollupBlobUri: rollupStorage.outputs.blobUri
    hubHostName: hubAccess.outputs.hostName
    hubName: hubName
    consumerGroup: consumerGroup
    insightsConnectionString: telemetry.outputs.connectionString
    apiAuthLevel: apiAuthLevel
    jobBuckets: jobBuckets
    retentionDays: retentionDays
    retentionSchedule: retentionSchedule
    openTelemetry: openTelemetry
    maximumInstances: maximumInstances == 0 ? max(partitions, 40) : maximumInstances
    instanceMemoryMB: instanceMemoryMB
    alwaysReadyInstances: alwaysReadyInstances
  }
}

module alerts 'alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    email: alertEmail
    lagSeconds: lagSeconds
    insightsId: telemetry.outputs.insightsId
    namespaceId: hubAccess.outputs.namespaceId
    hubName: hubName
    hostAccountId: hostStorage.outputs.id
    rollupAccountId: rollupStorage.outputs.id
  }
}

module workbook 'workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    insightsId: telemetry.outputs.insightsId
    namespaceId: hubAccess.outputs.namespaceId
    rollupAccountId: rollupStorage.outputs.id
  }
}

output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_APP_NAME string = app.outputs.name
output DASHBOARD_URL string = app.outputs.dashboardUrl
output ROLLUP_TABLE_URI string = rollupStorage.outputs.tableUri
output ROLLUP_BLOB_URI string = rollupStorage.outputs.blobUri
output HUB_NAMESPACE_ID string = hubAccess.outputs.namespaceId
