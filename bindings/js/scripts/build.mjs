// Builds the package: TypeScript into `dist`, with the generated WASM modules beside it.

import { spawnSync } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const wasm = join(root, "src", "wasm");
const dist = join(root, "dist");

if (!existsSync(join(wasm, "inline.js"))) {
  console.error("src/wasm is missing: run `cargo xtask build`, which makes it");
  process.exit(1);
}

const typescript = createRequire(import.meta.url).resolve("typescript/package.json");
const tsc = join(dirname(typescript), "bin", "tsc");
rmSync(dist, { recursive: true, force: true });
const compiled = spawnSync(process.execPath, [tsc, "-p", root], { stdio: "inherit" });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);
cpSync(wasm, join(dist, "wasm"), { recursive: true });
