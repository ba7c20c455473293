package main

import (
	"fmt"
	"strings"
)

// The plot's measures, in pixels.
const (
	width     = 640
	barHeight = 18
	rowHeight = 54
	labelled  = 250 // where the bars begin
	top       = 58
)

// plot draws the table of memory as an SVG: for each row a bar of the RSS with
// its anonymous part in front. It is readable on a light and on a dark page.
func plot(all []sample) string {
	var most int64
	for _, s := range all {
		most = max(most, s.changed.rss)
	}
	var b strings.Builder
	height := top + len(all)*rowHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	text(&b, 12, 22, `font-weight="bold"`, fmt.Sprintf("Memory of one process after %d changes, MB", changes))
	legend(&b, 12, "#1f6feb", "anonymous")
	legend(&b, 112, "#a5c8ff", "RSS (the rest is shared by all processes of the binary)")
	for i, s := range all {
		y := top + i*rowHeight
		scale := float64(width-labelled-60) / float64(most)
		text(&b, 12, y+14, "", fmt.Sprintf("%s, %d by name", s.what, s.secrets))
		text(&b, 12, y+31, `fill="#666"`, beside(s.others))
		bar(&b, y+6, float64(s.changed.rss)*scale, "#a5c8ff")
		bar(&b, y+6, float64(s.changed.anonymous)*scale, "#1f6feb")
		text(&b, labelled+int(float64(s.changed.rss)*scale)+6, y+20, "", mb(s.changed.rss))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func beside(others int) string {
	if others == 0 {
		return "no other in the namespace"
	}
	return fmt.Sprintf("beside %d others of 8 KB", others)
}

func text(b *strings.Builder, x, y int, attributes, words string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, words)
}

func bar(b *strings.Builder, y int, length float64, color string) {
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelled, y, length, barHeight, color)
}

func legend(b *strings.Builder, x int, color, words string) {
	fmt.Fprintf(b, `<rect x="%d" y="34" width="12" height="12" fill="%s"/>`+"\n", x, color)
	text(b, x+18, 45, "", words)
}
