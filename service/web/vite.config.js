import { defineConfig } from "vite";

// Built files are committed: the names of assets are hashes of what is in them, so that they may be cached for ever.
export default defineConfig({
  base: "/static/",
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    chunkSizeWarningLimit: 700,
    license: { fileName: "licences.md" },
  },
});
