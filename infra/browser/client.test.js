// @ts-check
import test from "node:test";
import assert from "node:assert/strict";
import { backoff } from "../../edge/web/static/client.js";
test("backoff", () => assert.equal(backoff(3, () => 1), 4000));
