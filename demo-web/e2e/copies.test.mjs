/** Documents as files: saved in Chromium, read by the terminal client, and the other way round. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { Hub, Tab, Terminal, end, profile, serve, temporary, until } from "./rig.mjs";

afterEach(end);

/** Saves what a tab has, and gives the path of the file. */
async function save(tab, folder) {
  const download = tab.page.waitForEvent("download");
  await tab.button("Save a copy").click();
  const path = join(folder, `${tab.name}.sync`);
  await (await download).saveAs(path);
  return path;
}

const open = (tab) => tab.page.getByText("Copies", { exact: true }).click();
const add = (tab, path) => tab.page.getByLabel("Copy to add").setInputFiles(path);

test("notes go from a browser without a hub to a terminal with one, and back", async () => {
  const hub = new Hub(await temporary("hub"));
  await hub.start();
  const address = `ws://127.0.0.1:${hub.port}`;
  const site = await serve();
  const folder = await temporary("files");
  const doc = "copies";
  const alone = await Tab.open(await profile("alone"), site, { doc, hub: "ws://127.0.0.1:9", name: "alone" });
  const online = await Tab.open(await profile("online"), site, { doc, hub: address, name: "online" });
  const terminal = new Terminal(await temporary("terminal"), address, doc);
  await online.is("online");
  const kept = await alone.add({ title: "From afar", body: "no network", tags: "far" });
  await alone.remove(await alone.add({ title: "MARKER" }));
  for (const tab of [alone, online]) await open(tab);

  const saved = await save(alone, folder);
  assert.equal((await readFile(saved)).includes("MARKER"), false);
  await terminal.run("import", saved);
  await terminal.sync();
  assert.deepEqual(Object.keys(await terminal.notes()), [kept]);
  await online.item(kept).waitFor();
  await online.edit(kept, { body: "and edited online" });
  const own = await online.add({ title: "Of the hub" });
  await online.settled();

  await terminal.sync();
  const exported = join(folder, "terminal.sync");
  await terminal.run("export", exported);
  await add(alone, exported);
  await alone.page.getByText("Its notes are on this device.").waitFor();
  await alone.item(own).waitFor();
  assert.equal((await alone.notes())[kept].body, "and edited online");

  // A tab that is online gives the hub what came from a file.
  const late = await alone.add({ title: "Late" });
  await add(online, await save(alone, folder));
  await online.item(late).waitFor();
  await until(async () => {
    await terminal.sync();
    return late in (await terminal.notes());
  }, "the hub has what came from a file");

  const broken = join(folder, "broken.sync");
  await writeFile(broken, (await readFile(exported)).subarray(0, -1));
  await add(alone, broken);
  await alone.page.getByText("This is no whole export of a document").waitFor();
  if (process.env.SYNC_SHOTS) await alone.page.screenshot({ path: join(process.env.SYNC_SHOTS, "copies.png") });
  for (const tab of [alone, online]) assert.deepEqual(tab.complaints, []);
});
