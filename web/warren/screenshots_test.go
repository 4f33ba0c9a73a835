//go:build screenshots

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

// pictures is where the pictures of README and docs are.
var pictures = filepath.Join("..", "..", "docs", "img")

// TestScreenshots takes the pictures again: `make screenshots`. It starts a warren with its private
// servers, runs the demo for a while and captures the pages.
func TestScreenshots(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "warren-pictures-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the database runs as another user when we are root
	port := freePort(t)
	d := &deployment{t: t, ctx: ctx, binary: binary, dir: dir, base: "http://" + port,
		env: append(os.Environ(), "DATABASE_URL=", "AMQP_URL=", "WARREN_LISTEN="+port, "WARREN_DATA="+filepath.Join(dir, "data"),
			"WARREN_ENV=staging")}
	d.start()
	d.ready()
	d.start("demo")
	open := time.Now()
	var job jobs.Detail
	d.until("the demo has run for four minutes and a job has seen much", func() bool {
		if time.Since(open) < 4*time.Minute {
			return false
		}
		job = d.eventful(time.Since(open) < 5*time.Minute)
		return job.Kind != ""
	})

	b := d.open()
	b.do(chromedp.EmulateViewport(1280, 800))
	pages := map[string]string{
		"overview": "/", "jobs": "/jobs", "job": "/jobs/" + job.ID.String(), "queue": "/queues/%2F/" +
			url.PathEscape("warren.jobs.demo-billing"),
		"failures": "/failures", "tasks": "/tasks/board", "outbox": "/outbox", "workers": "/workers",
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if status, _ := d.raw("GET", pages[name], ""); status != 200 {
			t.Logf("%s: %s answers %d", name, pages[name], status)
			continue
		}
		for _, theme := range []string{"light", "dark"} {
			command(b, emulation.SetEmulatedMedia,
				emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
			b.live(pages[name])
			b.until(`!document.querySelector(".chart canvas") || document.querySelector(".u-over")`) // charts are drawn
			shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			small := paletted(t, shot)
			require.Less(t, len(small), 150<<10, "%s is too large for a README", name)
			require.NoError(t, os.WriteFile(filepath.Join(pictures, fmt.Sprintf("%s-%s.png", name, theme)), small, 0o644))
		}
	}
}

// eventful returns a completed job of the demo that was redelivered, and that also failed if failed
// is set; the zero job if there is none yet.
func (d *deployment) eventful(failed bool) (found jobs.Detail) {
	var list struct{ Items []jobs.Job }
	for _, kind := range []string{"demo.invoice", "demo.thumbnail"} {
		d.do("GET", "/api/v1/jobs?state=completed&limit=200&kind="+kind, "", &list)
		for _, j := range list.Items {
			if j.Crashes > 0 && (j.Attempt > j.Crashes+1 || !failed) {
				d.do("GET", "/api/v1/jobs/"+j.ID.String(), "", &found)
				return found
			}
		}
	}
	return found
}

// palette returns the colours that are used most, the rarer ones only where no other is near them.
func palette(count map[color.Color]int) color.Palette {
	all := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	for near := uint32(0); ; near++ {
		var chosen color.Palette
		for _, c := range all {
			if !slices.ContainsFunc(chosen, func(o color.Color) bool { return distance(c, o) <= near<<8 }) {
				chosen = append(chosen, c)
			}
			if len(chosen) > 256 {
				break
			}
		}
		if len(chosen) <= 256 {
			return chosen
		}
	}
}

// distance returns the largest difference of a channel.
func distance(a, b color.Color) (most uint32) {
	r, g, bl, _ := a.RGBA()
	r2, g2, b2, _ := b.RGBA()
	for _, d := range [][2]uint32{{r, r2}, {g, g2}, {bl, b2}} {
		most = max(most, max(d[0], d[1])-min(d[0], d[1]))
	}
	return most
}

// paletted encodes a picture with at most 256 colours: a page has few, and the file is a third.
func paletted(t *testing.T, raw []byte) []byte {
	t.Helper()
	src, err := png.Decode(bytes.NewReader(raw))
	require.NoError(t, err)
	count := map[color.Color]int{}
	for y := range src.Bounds().Dy() {
		for x := range src.Bounds().Dx() {
			count[src.At(x, y)]++
		}
	}
	dst := image.NewPaletted(src.Bounds(), palette(count))
	draw.Draw(dst, dst.Rect, src, image.Point{}, draw.Src)
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, dst))
	return out.Bytes()
}
