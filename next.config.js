/** @type {import('next').NextConfig} */
const config = {
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
