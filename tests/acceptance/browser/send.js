"use strict";

// Sends one Web Push message with npm's web-push: a JSON object comes in, one goes out.

const webPush = require("web-push");

let text = "";
process.stdin.on("data", (chunk) => { text += chunk; });
process.stdin.on("end", async () => {
  const { subscription, payload, vapid, ttl, topic, coding } = JSON.parse(text);
  const options = { TTL: ttl, contentEncoding: coding, vapidDetails: vapid };
  if (topic) options.topic = topic;
  try {
    const { statusCode, headers, body } = await webPush.sendNotification(
      subscription, payload, options);
    console.log(JSON.stringify({ status: statusCode, location: headers.location, body }));
  } catch (error) {
    if (!error.statusCode) throw error;
    console.log(JSON.stringify({ status: error.statusCode, body: error.body }));
  }
});
