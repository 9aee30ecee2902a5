// @ts-check
// Gives Node.js before 22 the WebSocket that later ones have; for node --import.

// @ts-expect-error its types are a package of their own, too much for one line
import { WebSocket } from "ws";

globalThis.WebSocket ??= WebSocket;
