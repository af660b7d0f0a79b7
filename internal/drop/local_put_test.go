package drop

import "testing"

// TestSyncEvery: what a resumed Put repeats is little of the file, and begins
// at a place that was synced.
func TestSyncEvery(t *testing.T) {
	const mib = 1 << 20
	for size, want := range map[int64]int64{0: mib, 1: mib, 32 * mib: mib, 33 * mib: 2 * mib, 109 * mib: 4 * mib, 512 * mib: 16 * mib, 1 << 40: 16 * mib} {
		if got := syncEvery(size); got != want {
			t.Errorf("%d bytes: every %d, want %d", size, got, want)
		}
	}
	for _, c := range []struct{ length, size, want int64 }{
		{0, 5 * mib, 0}, {1, 5 * mib, 0}, {mib, 5 * mib, 0}, {mib + 1, 5 * mib, mib}, {5 * mib, 5 * mib, 4 * mib},
		{9 * mib, 109 * mib, 8 * mib}, {8 * mib, 109 * mib, 4 * mib},
	} {
		if got := resumeAt(c.length, c.size); got != c.want {
			t.Errorf("%d of %d bytes: from %d, want %d", c.length, c.size, got, c.want)
		}
	}
}
