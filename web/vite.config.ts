import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where the control plane answers while the console is worked on. */
const backend = process.env["TOKENGRID_URL"] ?? "http://127.0.0.1:8080";

// `changeOrigin` stays off: the control plane compares Origin with Host, and both must be the page's.
const proxy = {
  "/graphql": { target: backend, ws: true, changeOrigin: false },
  "/v1": { target: backend, changeOrigin: false },
};

export default defineConfig({
  plugins: [react()],
  server: { host: "127.0.0.1", port: 5173, proxy },
  preview: { host: "127.0.0.1", port: 4173, proxy },
  // No inline modules, so that the content security policy can forbid inline script.
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false }, sourcemap: false },
  test: {
    environment: "jsdom",
    include: ["{src,ui,pages,e2e}/**/*.test.{ts,tsx,mjs}"],
    setupFiles: "src/stage-setup.ts",
    testTimeout: 60_000,
  },
});
