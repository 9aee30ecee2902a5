// @ts-check
// The theme alone, before the first paint: a page that someone wants dark must not flash up white.

import { readLink } from "./link.js";
import { applyTheme, borrow } from "./settings.js";

borrow(readLink());
applyTheme();
