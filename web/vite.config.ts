import { defineConfig } from 'vite';

export default defineConfig({
  // The server serves all of app/pages/ below /static/, and answers /graphql with graphiql.html.
  base: '/static/',
  build: {
    // Within the Python package, so that the wheel contains the pages.
    outDir: '../app/pages',
    emptyOutDir: true,
    // A page a line; the pages share their libraries.
    rolldownOptions: {
      input: { graphiql: 'graphiql.html' },
      // Hundreds of "use client", which mean nothing outside of a server that renders React.
      checks: { moduleLevelDirective: false },
    },
    // The editor of GraphiQL is larger than any sensible limit.
    chunkSizeWarningLimit: 5000,
  },
  server: { proxy: { '/graphql': { target: 'http://127.0.0.1:8000', ws: true } } },
});
