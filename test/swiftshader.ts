import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Where Debian's package `chromium` puts its programs and the software driver, or the folder of `CHROMIUM_PATH`. */
const FOLDERS = [process.env.CHROMIUM_PATH && dirname(process.env.CHROMIUM_PATH), '/usr/lib/chromium'];

/** Why tests on WebGPU are left out, where they are. */
export const NO_SWIFTSHADER =
  'no software GPU: install Debian\'s package "chromium", which brings the Vulkan driver SwiftShader and a loader';

/**
 * The environment of a process in which WebGPU computes by SwiftShader: a Vulkan driver for the CPU, and the loader beside it.
 * Undefined where there is none. The loader is found at the start of a process only.
 */
export function swiftShaderEnvironment(): Record<string, string> | undefined {
  const folder = FOLDERS.find((path) => path && existsSync(join(path, 'vk_swiftshader_icd.json')));
  if (!folder) return undefined;
  const driver = join(folder, 'vk_swiftshader_icd.json');
  const libraries = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { LD_LIBRARY_PATH: libraries, VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver };
}
