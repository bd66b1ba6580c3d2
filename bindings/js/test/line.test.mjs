import assert from "node:assert/strict";
import { test } from "node:test";
import { socketAddress } from "../dist/line.js";
import { Profile, settle, until } from "./support/profile.mjs";

/** Where a frame has the type of its message, and that of a hello. */
const TYPE_AT = 5;
const HELLO = 1;

/** A hub that a test plays: it notes the sockets and the types of what they send. */
function stage() {
  const sockets = [];
  const openSocket = (address, events, page) => {
    const socket = { address, events, page, sent: [], isClosed: false };
    sockets.push(socket);
    return { send: (frame) => socket.sent.push(frame[TYPE_AT]), close: () => (socket.isClosed = true) };
  };
  return { profile: new Profile({ openSocket }), sockets };
}

const HUB = { hub: "ws://hub.test" };

test("addresses of hubs become addresses of sockets", () => {
  assert.equal(socketAddress("ws://h:1"), "ws://h:1/sync");
  assert.equal(socketAddress("https://h/"), "wss://h/sync");
  assert.equal(socketAddress("http://h/base/"), "ws://h/base/sync");
  assert.equal(socketAddress("wss://h?x=1#y"), "wss://h/sync?x=1");
});

test("one tab of a profile connects, and another one when it goes", async () => {
  const { profile, sockets } = stage();
  const a = await profile.tab().open("a", HUB);
  const tabB = profile.tab();
  const b = await tabB.open("a", HUB);
  await settle();
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].address, "ws://hub.test/sync");
  assert.deepEqual([a.status().connection, b.status().connection], ["connecting", "connecting"]);
  sockets[0].events.opened();
  assert.equal(sockets[0].sent[0], HELLO);
  await a.close();
  await until(() => sockets.length === 2, "the other tab connects");
  assert.equal(sockets[0].isClosed, true);
  assert.equal(sockets[1].page, tabB.page);
});

test("a lost connection is tried again, at once when the page is looked at", async () => {
  const { profile, sockets } = stage();
  const tab = profile.tab();
  const a = await tab.open("a", HUB);
  await until(() => sockets.length === 1);
  sockets[0].events.closed(1006, "");
  assert.equal(a.status().connection, "connecting");
  assert.match(a.status().reason, /cannot be reached/);
  await until(() => sockets.length === 2, "it tries again");
  for (let i = 1; i < 6; i += 1) {
    sockets[i].events.closed(1006, "");
    tab.page.events.woken();
    await until(() => sockets.length === i + 2, "it tries at once");
  }
  sockets[0].events.closed(4401, "stale");
  assert.equal(a.status().connection, "connecting", "an older connection says nothing any more");
});

test("a refusal for good stops the attempts and says why", async () => {
  for (const code of [4401, 4403, 4406]) {
    const { profile, sockets } = stage();
    const tab = profile.tab();
    const a = await tab.open("a", HUB);
    const b = await profile.tab().open("a", HUB);
    await until(() => sockets.length === 1);
    sockets[0].events.closed(code, "the token was not accepted");
    tab.page.events.woken();
    await settle(400);
    assert.equal(sockets.length, 1);
    for (const document of [a, b]) {
      assert.equal(document.status().connection, "offline");
      assert.match(document.status().reason, /the token was not accepted/);
    }
  }
});

test("a hub that speaks another language is left, and asked again", async () => {
  const { profile, sockets } = stage();
  const a = await profile.tab().open("a", HUB);
  await until(() => sockets.length === 1);
  sockets[0].events.opened();
  sockets[0].events.frame(new Uint8Array([1, 2, 3]));
  assert.equal(sockets[0].isClosed, true);
  assert.match(a.status().reason, /given up/);
  await until(() => sockets.length === 2);
});

test("a page that may not connect says so and goes on without", async () => {
  const openSocket = () => {
    throw new DOMException("blocked", "SecurityError");
  };
  const a = await new Profile({ openSocket }).tab().open("a", HUB);
  await until(() => a.status().connection === "offline");
  assert.match(a.status().reason, /may not connect/);
  await a.collection("notes").insert({ title: "x" }).disk;
});

test("an isolated tab closes its socket, and the hub hears nothing of what it writes", async () => {
  const { profile, sockets } = stage();
  const a = await profile.tab().open("a", HUB);
  await until(() => sockets.length === 1);
  sockets[0].events.opened();
  await a.setOffline(true);
  assert.equal(sockets[0].isClosed, true);
  await a.collection("notes").insert({ title: "x" }).disk;
  await settle(400);
  assert.equal(sockets.length, 1);
  await a.setOffline(false);
  await until(() => sockets.length === 2, "it connects again");
});
