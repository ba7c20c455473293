// Package plot draws bars as an SVG readable on a light and on a dark page. It
// knows nothing about their meaning.
package plot

import (
	"fmt"
	"strings"
)

// The sizes of the plot, in pixels.
const (
	width     = 640
	barHeight = 18
	rowHeight = 54
	labelled  = 250 // the left edge of the bars
	top       = 58
)

// A Bar is a row: a whole, with a part of it in front.
type Bar struct {
	Name, Note  string // Note is below Name, in a lighter color
	Whole, Part int64
	Label       string // behind the bar
}

// SVG draws the rows below a title, with a legend for part and whole.
func SVG(title, part, whole string, rows []Bar) string {
	var most int64
	for _, r := range rows {
		most = max(most, r.Whole)
	}
	var b strings.Builder
	height := top + len(rows)*rowHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	text(&b, 12, 22, `font-weight="bold"`, title)
	legend(&b, 12, "#1f6feb", part)
	legend(&b, 112, "#a5c8ff", whole)
	for i, r := range rows {
		y := top + i*rowHeight
		scale := float64(width-labelled-60) / float64(most)
		text(&b, 12, y+14, "", r.Name)
		text(&b, 12, y+31, `fill="#666"`, r.Note)
		bar(&b, y+6, float64(r.Whole)*scale, "#a5c8ff")
		bar(&b, y+6, float64(r.Part)*scale, "#1f6feb")
		text(&b, labelled+int(float64(r.Whole)*scale)+6, y+20, "", r.Label)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func text(b *strings.Builder, x, y int, attributes, words string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, words)
}

func bar(b *strings.Builder, y int, length float64, color string) {
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
		labelled, y, length, barHeight, color)
}

func legend(b *strings.Builder, x int, color, words string) {
	fmt.Fprintf(b, `<rect x="%d" y="34" width="12" height="12" fill="%s"/>`+"\n", x, color)
	text(b, x+18, 45, "", words)
}
