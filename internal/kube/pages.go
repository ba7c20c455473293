package kube

import (
	"context"
	"iter"
)

// smallPage is the number of objects in a page of Pages. 5,000 Pods of 10 KB need 50 MB as a
// whole, and 1 MB as a page of this size.
const smallPage = 100

// A Page is a part of a list.
type Page[T any] struct {
	Items           []T
	ResourceVersion string // of the whole list
}

// Pages performs the same read as List, for long lists: the caller never holds more than a
// page. All pages are of the version of the first page. If that version expires, the last
// error is a 410 (apierrors.IsResourceExpired), and the caller must begin again.
func Pages[T any](ctx context.Context, c *Client, q Query) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		for token := ""; ; {
			p, err := listPage[T](ctx, c, q, smallPage, token)
			token = p.Metadata.Continue
			if !yield(Page[T]{p.Items, p.Metadata.ResourceVersion}, err) || err != nil || token == "" {
				return
			}
		}
	}
}
