"use strict";

// What a test calls, or a person with a button; each returns something that survives JSON.

const show = (id, text) => { document.getElementById(id).textContent = text; };

function octets(base64url) {
  const text = atob(base64url.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

async function allowed() {
  if (await Notification.requestPermission() !== "granted") throw new Error("not allowed");
}

async function subscribe(key) {
  await navigator.serviceWorker.register("worker.js");
  const registration = await navigator.serviceWorker.ready;
  const options = { userVisibleOnly: true };
  if (key !== null) options.applicationServerKey = octets(key);
  const subscription = await registration.pushManager.subscribe(options);
  show("state", "subscribed");
  show("endpoint", subscription.endpoint);
  return JSON.stringify(subscription);
}

async function unsubscribe() {
  const registration = await navigator.serviceWorker.ready;
  const subscription = await registration.pushManager.getSubscription();
  const done = await subscription.unsubscribe();
  show("state", "not subscribed");
  show("endpoint", "none");
  return done;
}

// Subscriptions that are made at once, each of a service worker of its own.
async function subscribeMany(count) {
  const one = async (number) => {
    const scope = `/${number}/`;
    const registration = await navigator.serviceWorker.register("worker.js", { scope });
    const worker = registration.installing ?? registration.waiting;
    if (worker !== null) {
      await new Promise((resolve) => {
        const look = () => { if (worker.state === "activated") resolve(); };
        worker.addEventListener("statechange", look);
        look();
      });
    }
    return registration;
  };
  const all = await Promise.all(Array.from({ length: count }, (_, number) => one(number)));
  const options = { userVisibleOnly: true };
  const made = await Promise.all(all.map((each) => each.pushManager.subscribe(options)));
  return JSON.stringify(made);
}

// Ends all subscriptions of this site at once.
async function unsubscribeAll() {
  const all = await navigator.serviceWorker.getRegistrations();
  const made = await Promise.all(all.map((each) => each.pushManager.getSubscription()));
  const done = await Promise.all(made.map((each) => each?.unsubscribe() ?? true));
  return done.every((each) => each);
}

// Payloads that the service worker got, oldest first, once there are so many.
async function received(count) {
  for (;;) {
    const changed = new Promise((resolve) => { wake = resolve; });
    const list = await stored();
    if (list.length >= count) return JSON.stringify(list);
    await changed;
  }
}

let wake = () => {};

async function stored() {
  const cache = await caches.open("received");
  const kept = await Promise.all((await cache.keys()).map((key) => cache.match(key)));
  const list = await Promise.all(kept.map((response) => response.json()));
  list.sort((a, b) => a.number - b.number);
  document.getElementById("received").replaceChildren(...list.map(({ text }) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  return list.map(({ text }) => text);
}

async function begin() {
  navigator.serviceWorker.addEventListener("message", () => { wake(); stored(); });
  navigator.serviceWorker.startMessages();
  await stored();
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  if (!subscription) return;
  show("state", "subscribed");
  show("endpoint", subscription.endpoint);
}

begin();
