// The same work with Node and the AWS SDK for JavaScript v3: leads by emails, and a sign-up as one item.
// It asks nobody for a token. Below it is the least that a Lambda runtime needs.

import http from "node:http";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { BatchGetCommand, DynamoDBDocumentClient, PutCommand } from "@aws-sdk/lib-dynamodb";

const db = DynamoDBDocumentClient.from(new DynamoDBClient({}));
const table = process.env.CLIENTS_TABLE;

async function leads({ emails }) {
  const found = {};
  for (let at = 0; at < emails.length; at += 100) {
    let wanted = { [table]: { Keys: emails.slice(at, at + 100).map((email) => ({ pk: `E#${email}` })) } };
    while (Object.keys(wanted).length > 0) {
      const got = await db.send(new BatchGetCommand({ RequestItems: wanted }));
      for (const item of got.Responses[table] ?? []) {
        const email = item.pk.slice(2);
        const [createdDate, id] = item.c.split("#");
        const [updatedDate] = item.u.split("#");
        found[email] = { id, email, status: item.s, createdDate, updatedDate, ftd: item.f ?? "" };
      }
      wanted = got.UnprocessedKeys ?? {};
    }
  }
  return found;
}

async function signUp(body) {
  const id = `node-${body.email}`;
  const item = { ...body, pk: `N#${id}`, createdDate: Date.now() };
  await db.send(new PutCommand({ TableName: table, Item: item, ConditionExpression: "attribute_not_exists(pk)" }));
  return { id };
}

async function handle(event) {
  const body = JSON.parse(event.body);
  const answer = event.rawPath.endsWith("/leads") ? await leads(body) : await signUp(body);
  return { statusCode: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(answer) };
}

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body = "") {
  return new Promise((resolve, reject) => {
    const headers = { "content-length": Buffer.byteLength(body) };
    const options = { agent, headers, host, method, path: `/2018-06-01/runtime/invocation/${path}`, port };
    const request = http.request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => resolve([response.headers, Buffer.concat(parts).toString()]));
    });
    request.on("error", reject);
    request.end(body);
  });
}

for (;;) {
  const [headers, event] = await call("GET", "next");
  const id = headers["lambda-runtime-aws-request-id"];
  try {
    await call("POST", `${id}/response`, JSON.stringify(await handle(JSON.parse(event))));
  } catch (error) {
    await call("POST", `${id}/error`, JSON.stringify({ errorType: error.name, errorMessage: String(error) }));
  }
}
