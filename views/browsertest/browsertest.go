// Package browsertest opens tabs of a real browser, which all tests of a package share.
package browsertest

import (
	"context"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

// Stop ends the browser, if a test has opened a tab. For TestMain.
func Stop() {
	if browser.stop != nil {
		browser.stop()
	}
}

// Tab opens a tab with a profile of its own, for 20 minutes or until the test ends. The test fails
// with each error on the tab's console for which expected does not return true.
func Tab(tb testing.TB, expected func(text string) bool) context.Context {
	tb.Helper()
	browser.once.Do(start)
	require.NoError(tb, browser.err)
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	tb.Cleanup(cancel)
	require.NoError(tb, chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			tb.Errorf("script: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		case *log.EventEntryAdded: // also violations of the content security policy
			if e.Entry.Level == log.EntryLevelError && !expected(e.Entry.Text) {
				tb.Errorf("console: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	}))
	ctx, cancel = context.WithTimeout(ctx, 20*time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// start starts the browser without features that cost more processor time than they save here:
// emulating a GPU, and optimizing code for each page anew that runs once.
func start() {
	bin, err := exec.LookPath("chromium-headless-shell") // takes two thirds of the time of a whole browser
	if err != nil {
		browser.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(bin), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-software-rasterizer", true),
		chromedp.Flag("js-flags", "--no-turbofan --no-maglev"),
		chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	browser.ctx, _ = chromedp.NewContext(allocator) //nolint:fatcontext // it is made once, and ends with its allocator
	browser.stop = stop
	browser.err = chromedp.Do(browser.ctx)
}
