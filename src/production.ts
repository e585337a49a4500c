/**
 * Imported before everything else: outside of production graphql-js looks at every value of every field once more, in case
 * two copies of it are loaded. Whoever sets NODE_ENV keeps what was set.
 */
process.env.NODE_ENV ??= 'production';
