import { defineConfig } from 'vitest/config'

// Forks, not threads: tests kill, exit and measure whole processes, and an addon that dies takes its own file only.
export default defineConfig({
  // binding.cts too; by default vite leaves .cts files as they are.
  oxc: { include: /\.[cm]?ts$/ },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
})
