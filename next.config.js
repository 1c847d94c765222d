/** Under server.ts, which has started the runtime before it loads Next, no agent's call comes through Next. */
const servesAgents = globalThis[Symbol.for("headroom.runtime")] === undefined;

/** @type {import('next').NextConfig} */
const config = {
  // Next would compress what the upstream left as it is, and agents' answers go out as they came.
  compress: !servesAgents,
  // Nor is an agent sent elsewhere for a slash; what its call means is for the upstream to say.
  skipTrailingSlashRedirect: true,
  // `npm run check` holds the types; a build that checks them again would double the first start.
  typescript: { ignoreBuildErrors: true },
  poweredByHeader: false,
  // These open sockets, files or threads, or read their own files: they run from node_modules as they are.
  serverExternalPackages: ["undici", "nodemailer", "pino", "pg", "@electric-sql/pglite", "prom-client"],
  experimental: {
    optimizePackageImports: ["@mantine/core", "@mantine/hooks", "@tabler/icons-react"],
  },
};

export default config;
