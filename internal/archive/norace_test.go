//go:build !race

package archive

// memoryMembers of 8 MiB each are what TestMemory writes and reads.
const memoryMembers = 24
