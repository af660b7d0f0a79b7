package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// measure is added to a copy of a page, whose own policy forbids all scripts:
// it says how wide the page became, in which colours, and whether a word or a
// mark was cut off.
const measure = `<script>
addEventListener("load", () => {
  const d = document.documentElement, wide = [];
  for (const e of document.querySelectorAll("main *")) {
    const r = e.getBoundingClientRect();
    if (!e.closest("thead") && r.width > 1 && r.right > innerWidth + 1) wide.push(e.tagName + " " + e.textContent.slice(0, 30));
  }
  const lum = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * r + .7152 * g + .0722 * b };
  let least = 21;
  for (const e of document.querySelectorAll("h1, h2, p, td, dt, dd, .badge, .soft")) {
    let bg = e;
    while (bg && getComputedStyle(bg).backgroundColor === "rgba(0, 0, 0, 0)") bg = bg.parentElement;
    const a = lum(getComputedStyle(e).color), b = lum(bg ? getComputedStyle(bg).backgroundColor : "rgb(255,255,255)");
    least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  parent.postMessage(JSON.stringify({ width: innerWidth, scroll: d.scrollWidth,
    paper: getComputedStyle(document.body).backgroundColor, contrast: least.toFixed(2), wide: wide.slice(0, 5).join(";"), text: d.innerText }), "*");
});
</script></body>`

// frame shows a page as wide as a screen, for no window of the browser is as
// narrow as a phone, and writes down what it measures.
const frame = `<!DOCTYPE html><body><script>
addEventListener("message", e => { document.body.append(e.data); });
</script><iframe width="%d" height="%d" src="%s"></iframe></body>`

// browse opens a page in headless Chromium and returns its document when all
// is loaded.
func browse(t *testing.T, page string, args ...string) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--virtual-time-budget=2000", "--user-data-dir=" + t.TempDir()}, args...)
	cmd := exec.CommandContext(ctx, browser, append(args, "--dump-dom", "file://"+page)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return string(out)
}

// TestShopPages looks at both pages as a phone and a desk do, in the light and
// in the dark: nothing is cut off, everything has the contrast that WCAG 2.2
// asks for (1.4.3: 4.5), and the page asks for nothing from outside.
func TestShopPages(t *testing.T) {
	s := newShop(t)
	s.soldTwice()
	s.must("002", "sync")
	// One till in alarm, with words as long as a head allows; one archive changed.
	s.edit("002", "HEAD.json", `"alarms": []`, `"alarms": [
    "`+strings.Repeat("the disk is nearly full, ", 11)+`",
    "averylongwordwithoutanyblankwhichnothingcanbreak`+strings.Repeat("x", 120)+`"
  ]`+strings.TrimSuffix(strings.Replace(software, "the probe ended with 1", strings.Repeat("probe:", 30), 1), "\n}\n"))
	s.shelve()
	s.flip("drop/ACME/down/0000000001.tar.zst", 100)
	status, report := s.path("status.html"), s.path("report.html")
	s.run("status", "--drop", s.path("drop"), "--signers", s.path("server/allowed_signers"), "--html", status)
	s.run("verify", "--report", report, "--signers", s.path("server/allowed_signers"), s.path("drop"))
	for _, page := range []struct{ path, says string }{{status, "the disk is nearly full"}, {report, "0000000001.tar.zst"}} {
		text := string(s.read(page.path))
		if regexp.MustCompile(`(?i)https?:|<script|<link|\ssrc=|url\(|@import`).MatchString(text) {
			t.Errorf("%s asks for something from outside", page.path)
		}
		measured := strings.Replace(page.path, ".html", "-measured.html", 1)
		copied := regexp.MustCompile(`<meta http-equiv[^>]*>`).ReplaceAllString(text, "")
		s.write(measured, []byte(strings.Replace(copied, "</body>", measure, 1)))
		for _, view := range []struct {
			width, height int
			scheme        int // 0 dark, 1 light
		}{{360, 740, 0}, {1280, 900, 1}} {
			t.Run(fmt.Sprintf("%s %d", filepath.Base(page.path), view.width), func(t *testing.T) {
				t.Parallel()
				outer := strings.Replace(measured, ".html", fmt.Sprintf("-%d.html", view.width), 1)
				s.write(outer, []byte(fmt.Sprintf(frame, view.width, view.height, "file://"+measured)))
				dom := browse(t, outer, "--window-size=1400,1000", fmt.Sprintf("--blink-settings=preferredColorScheme=%d", view.scheme))
				if !strings.Contains(dom, page.says) {
					t.Errorf("the page does not show %q", page.says)
				}
				m := regexp.MustCompile(`\{"width":(\d+),"scroll":(\d+),"paper":"([^"]*)","contrast":"([0-9.]+)","wide":"([^"]*)"`).FindStringSubmatch(dom)
				if m == nil {
					t.Fatalf("nothing was measured: %s", dom[max(0, len(dom)-500):])
				}
				if m[2] > m[1] && len(m[2]) >= len(m[1]) || m[5] != "" {
					t.Errorf("the page is %s wide on a screen of %s: %s", m[2], m[1], m[5])
				}
				if want := map[int]string{0: "rgb(20, 23, 26)", 1: "rgb(255, 255, 255)"}[view.scheme]; m[3] != want {
					t.Errorf("the paper is %s, want %s", m[3], want)
				}
				if m[4] < "4.5" && len(m[4]) == 4 {
					t.Errorf("the least contrast is %s", m[4])
				}
			})
		}
	}
}
