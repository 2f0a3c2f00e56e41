// The diagnostic setting of a Batch account, in that account's resource group: its ServiceLog goes to the hub.
param settingName string
param accountName string
param hubPolicyId string
param hubName string

resource account 'Microsoft.Batch/batchAccounts@2024-02-01' existing = {
  name: accountName
}

resource setting 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: settingName
  scope: account
  properties: {
    eventHubAuthorizationRuleId: hubPolicyId
    eventHubName: hubName
    logs: [
      {
        category: 'ServiceLog'
        enabled: true
      }
    ]
  }
}
