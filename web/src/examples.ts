// The README's example operations, in its order: each an operation with its variables.

const operations = import.meta.glob<string>('../examples/*.graphql', { eager: true, query: '?raw', import: 'default' });
const variables = import.meta.glob<string>('../examples/*.json', { eager: true, query: '?raw', import: 'default' });

export const examples = Object.keys(operations)
  .sort()
  .map((path) => ({
    query: operations[path] ?? null,
    variables: variables[path.replace('.graphql', '.json')] ?? null,
  }));
