package ui

import (
	"cmp"
	"context"
	"strings"

	"github.com/a-h/templ"
)

// Mount is where a dashboard is mounted, as the browser sees it.
type Mount struct {
	Base    string // path below which it is mounted, as "/admin/jobs"; "" for the root
	Cookies string // suffix of its cookie names: browsers keep the cookies of all ports of a host together
}

type mountKey struct{}

// WithMount makes the addresses of a page begin with the mount's base.
func WithMount(ctx context.Context, m Mount) context.Context {
	return context.WithValue(ctx, mountKey{}, m)
}

// MountOf returns the mount set by WithMount.
func MountOf(ctx context.Context) Mount {
	m, _ := ctx.Value(mountKey{}).(Mount)
	return m
}

// At returns the address of a path of the dashboard, such as "/jobs?state=dead"; every address in a
// page, a redirect or a header is made by it. Anything that is not such a path, like a fragment,
// stays as it is.
func At(ctx context.Context, path string) templ.SafeURL {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return templ.SafeURL(path)
	}
	return templ.SafeURL(MountOf(ctx).Base + path)
}

// segments writes "/" as JSON Pointers do (RFC 6901): many proxies decode %2F.
var (
	segments   = strings.NewReplacer("~", "~0", "/", "~1")
	unsegments = strings.NewReplacer("~1", "/", "~0", "~")
)

// dots are the names that browsers and proxies take for a step in a path, and what is written for
// them: no other name has it, as its ~ is written ~0.
var dots = map[string]string{".": "~2", "..": "~2~2"}

// Segment returns a name of the broker's as one segment of a path, without slashes and not escaped
// yet. The virtual host "/" is "~1".
func Segment(name string) string { return cmp.Or(dots[name], segments.Replace(name)) }

// FromSegment returns the name that Segment was given.
func FromSegment(segment string) string {
	for name, written := range dots {
		if segment == written {
			return name
		}
	}
	return unsegments.Replace(segment)
}
