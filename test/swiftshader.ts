import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Folders of the software driver: that of `CHROMIUM_PATH`, and that of Debian's package `chromium`. */
const FOLDERS = [process.env.CHROMIUM_PATH && dirname(process.env.CHROMIUM_PATH), '/usr/lib/chromium'];

/** Reason for skipping tests on WebGPU. */
export const NO_SWIFTSHADER =
  'no software GPU: install Debian\'s package "chromium", which brings the Vulkan driver SwiftShader and a loader';

/**
 * Returns the environment of a process in which WebGPU runs on SwiftShader. It names a Vulkan driver for the
 * CPU and the folder of its loader. Undefined if SwiftShader is missing.
 *
 * The loader is found only at the start of a process.
 */
export function swiftShaderEnvironment(): Record<string, string> | undefined {
  const folder = FOLDERS.find((path) => path && existsSync(join(path, 'vk_swiftshader_icd.json')));
  if (!folder) return undefined;
  const driver = join(folder, 'vk_swiftshader_icd.json');
  const libraries = [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
  return { LD_LIBRARY_PATH: libraries, VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver };
}
