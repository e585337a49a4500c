/**
 * The floors of the house, each importing only from below (docs/architecture.md):
 * main → cli → server/context → schema, http, jobs, access → features → ledger → db, storage → core, config, errors.
 */
const features =
  '^src/(signals|audit|api-keys|health|proofs|anchors|integrity|packs|exports|redaction|config-snapshots|trace|sinks|retention|secrets)/';
module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'core-is-pure',
      severity: 'error',
      comment: 'core holds bytes and hashes: nothing of ours, no I/O, no library but canonicalize',
      from: { path: '^src/core/', pathNot: '^src/core/digest\\.browser\\.ts$' },
      to: { pathNot: ['^src/core/', 'node_modules/canonicalize', '^(node:)?crypto$'] },
    },
    {
      name: 'browser-digest-is-pure',
      severity: 'error',
      comment: 'what browsers get in place of node:crypto',
      from: { path: '^src/core/digest\\.browser\\.ts$' },
      to: { pathNot: ['^src/core/', 'node_modules/@noble/(curves|hashes)/'] },
    },
    {
      name: 'db-below-ledger',
      severity: 'error',
      from: { path: '^(src/(db|storage)/|migrations/)' },
      to: { path: '^src/', pathNot: ['^src/(core|db|storage)/', '^src/(config|errors|clock)\\.ts$'] },
    },
    {
      name: 'ledger-below-features',
      severity: 'error',
      from: { path: '^src/ledger/' },
      to: { path: '^src/', pathNot: ['^src/(core|db|storage|ledger)/', '^src/(config|errors|clock)\\.ts$'] },
    },
    {
      name: 'access-below-graphql',
      severity: 'error',
      from: { path: '^src/access/' },
      to: { path: '^src/', pathNot: ['^src/(core|db|ledger|access)/', '^src/(config|errors|clock)\\.ts$'] },
    },
    {
      name: 'graphql-below-features',
      severity: 'error',
      from: { path: '^src/graphql/' },
      to: { path: '^src/', pathNot: ['^src/(core|db|ledger|access|graphql)/', '^src/(config|errors|clock)\\.ts$'] },
    },
    {
      name: 'features-apart',
      severity: 'error',
      comment: 'features meet in the ledger or in an interface handed in by context.ts; only GraphQL types are shared',
      from: {
        path: '^src/(signals|audit|api-keys|health|proofs|anchors|integrity|packs|exports|redaction|config-snapshots|trace|sinks|retention|secrets)/',
      },
      to: { path: features, pathNot: ['^src/$1/', '\\.type\\.ts$'] },
    },
    {
      name: 'features-below-server',
      severity: 'error',
      from: { path: features },
      to: { path: '^src/(cli|http)/|^src/(main|server|context|schema|open-[a-z-]+)\\.ts$' },
    },
    {
      name: 'client-stands-alone',
      severity: 'error',
      comment: 'the client is published to users: it needs nothing of the server but the pure core',
      from: { path: '^src/client/' },
      to: { path: '^src/', pathNot: '^src/(client|core)/' },
    },
    {
      name: 'verifier-stands-alone',
      severity: 'error',
      comment: 'the verifier is one file without dependencies: the pure core, Node, and nothing else',
      from: { path: '^src/verifier/' },
      to: { pathNot: ['^src/(verifier|core)/', '^(node:)?[a-z_/]+$'] },
    },
    {
      name: 'no-test-in-product',
      severity: 'error',
      from: { path: '^(src|migrations)/' },
      to: { path: '^(test|bench|demo)/' },
    },
    {
      name: 'nothing-unresolved',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '@graphql-typed-document-node/core' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
