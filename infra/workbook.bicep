// The workbook: what workbook.json holds, with this deployment's resources put in.
param location string
param tags object
param insightsId string
param namespaceId string
param rollupAccountId string

var content = replace(
  replace(
    replace(loadTextContent('workbook.json'), '<insights>', insightsId),
    '<hubNamespace>',
    namespaceId
  ),
  '<rollupAccount>',
  rollupAccountId
)

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insightsId, 'batch-rollups')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Batch rollups'
    category: 'workbook'
    sourceId: insightsId
    serializedData: content
  }
}
