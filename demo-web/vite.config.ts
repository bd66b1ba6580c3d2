import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Relative paths: the same build works at the root of a hub and in a folder of any other server.
export default defineConfig({
  base: "./",
  plugins: [react()],
});
