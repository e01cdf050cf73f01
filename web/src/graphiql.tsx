// The page at /graphql: GraphiQL against this very server, with our examples as its first tabs.

import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './graphiql.css';

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { examples } from './examples';

const endpoint = new URL('/graphql', window.location.href);
const socket = new URL(endpoint);
socket.protocol = endpoint.protocol.replace('http', 'ws');

// Headers of the headers tab go with each request, and as the payload of connection_init with each subscription.
const fetcher = createGraphiQLFetcher({
  url: endpoint.href,
  subscriptionUrl: socket.href,
  enableIncrementalDelivery: false,
});

// GraphiQL 5.4 drops the variables of the first default tab. Given on a later visit, they would open another tab.
const isFirstVisit = localStorage.getItem('graphiql:tabState') === null;

// The operation of the address (/graphql?query=...&variables=...), if it has one, gets a tab of its own.
const address = new URLSearchParams(window.location.search);
const query = address.get('query') ?? undefined;
const variables = address.get('variables') ?? undefined;
const tabs = query === undefined ? examples : [{ query, variables }, ...examples];
const firstVariables = isFirstVisit ? (tabs[0]?.variables ?? undefined) : variables;

const root = document.getElementById('root');
if (!root) throw new Error('graphiql.html has no #root');

createRoot(root).render(
  <StrictMode>
    <GraphiQL fetcher={fetcher} defaultTabs={tabs} initialQuery={query} initialVariables={firstVariables}>
      <GraphiQL.Logo>VK Comments</GraphiQL.Logo>
    </GraphiQL>
  </StrictMode>,
);
