// @ts-check
// Applies the theme before the first paint: a dark page must not flash white.

import { readLink } from "./link.js";
import { applyLink, applyTheme } from "./settings.js";

applyLink(readLink());
applyTheme();
