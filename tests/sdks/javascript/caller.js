// Calls GetCallerIdentity again and again with one client of the AWS SDK for JavaScript v3.
"use strict";

const { GetCallerIdentityCommand, STSClient } = require("@aws-sdk/client-sts");
const { readFileSync } = require("node:fs");

const description = readFileSync(`${process.env.NODE_PATH}/@aws-sdk/client-sts/package.json`);
console.log("version", JSON.parse(description).version);

const client = new STSClient({});
const pause = Number(process.env.PAUSE) * 1000;

async function main() {
  for (;;) {
    try {
      await client.send(new GetCallerIdentityCommand({}));
      console.log("ok");
    } catch (error) {
      const answered = error.$metadata?.httpStatusCode !== undefined;
      console.log(answered ? `refused ${error.Code ?? error.name}` : `failed ${String(error).replace(/\s+/g, " ")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

main();
