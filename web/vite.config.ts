// The pages of the server: `/` is index.html, `/{stream}/` is stream.html, all they load is under `/_/`.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  appType: "mpa",
  build: {
    target: "es2022",
    // The server says `immutable` of what is in here: each name holds its hash.
    assetsDir: "_",
    // Nothing inline: the pages also work where a Content-Security-Policy forbids `data:`.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // hls.js alone is more than Vite thinks wise.
    chunkSizeWarningLimit: 1000,
    reportCompressedSize: false,
    rollupOptions: { input: ["index.html", "stream.html"] },
  },
});
