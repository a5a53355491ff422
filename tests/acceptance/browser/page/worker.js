"use strict";

// Keeps whatever is pushed, for the page to find, also when none is open.

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

let chain = Promise.resolve();

self.addEventListener("push", (event) => {
  const text = event.data === null ? "(nothing)" : event.data.text();
  chain = chain.then(() => keep(text));
  event.waitUntil(chain);
});

// The subscription has ended, and with it may have gone what nobody kept: its endpoint takes nothing
// any more. A real page would subscribe anew, and ask its server what it missed.
self.addEventListener("pushsubscriptionchange", (event) => {
  chain = chain.then(() => keep("(subscribe anew)"));
  event.waitUntil(chain);
});

async function keep(text) {
  const cache = await caches.open("received");
  const number = (await cache.keys()).length;
  await cache.put(`/received/${number}`, new Response(JSON.stringify({ number, text })));
  await self.registration.showNotification(text);
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) {
    client.postMessage(number);
  }
}
