package dashboard

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// The sizes, in pixels.
const (
	column, row = 46, 32 // a cell of the grid
	gap         = 4
	margin      = 12
	header      = 44
	axis        = 52 // the width of the numbers on the left
	line        = 15 // the height of a line of text
	legendLines = 4  // the maximum number of lines in a legend
)

var colors = []string{"#1f6feb", "#d29922", "#2da44e", "#cf222e", "#8250df", "#bf3989", "#57606a", "#0a7ea4"}

// Draw returns the dashboard as an SVG readable on a light and on a dark page.
func Draw(d Dashboard, answers [][]Series, r Range, note string) string {
	bottom := 0
	for _, p := range d.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	var b strings.Builder
	width, height := 24*column+2*margin, header+bottom*row+margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#f6f8fa"/>`+"\n", width, height)
	text(&b, margin+gap, 20, `font-size="15" font-weight="bold"`, d.Title)
	text(&b, margin+gap, 36, `fill="#57606a"`, note)
	for i, p := range d.Panels {
		panel(&b, p, answers[i], r)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// A box is a rectangle.
type box struct{ x, y, w, h int }

func panel(b *strings.Builder, p Panel, answer []Series, r Range) {
	g := p.GridPos
	at := box{margin + g.X*column + gap, header + g.Y*row + gap, g.W*column - 2*gap, g.H*row - 2*gap}
	fmt.Fprintf(
		b,
		`<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="#fff" stroke="#d0d7de"/>`+"\n",
		at.x,
		at.y,
		at.w,
		at.h,
	)
	text(b, at.x+8, at.y+18, `font-weight="bold"`, p.Title)
	if p.Type == "stat" {
		stat(b, at, answer)
		return
	}
	lines := min((len(answer)+1)/2, legendLines)
	plot := box{at.x + axis, at.y + 28, at.w - axis - 12, at.h - 28 - 20 - lines*line - 4}
	graph(b, plot, answer, r, p.FieldConfig.Defaults.Unit)
	for i, s := range answer[:min(len(answer), 2*legendLines)] {
		x, y := at.x+10+i%2*(at.w/2), plot.y+plot.h+20+(i/2+1)*line
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/>`+"\n", x, y-9, colors[i%len(colors)])
		text(b, x+15, y, "", s.Name)
	}
}

// stat draws the last value, on red if Grafana would show it on red.
func stat(b *strings.Builder, at box, answer []Series) {
	value, color := "no data", "#57606a"
	if len(answer) > 0 && len(answer[0].Points) > 0 {
		points := answer[0].Points
		last := points[len(points)-1].Value
		value, color = number(last, "none"), "#2da44e"
		if answer[0].Name == "sidecars" {
			color = "#1f6feb"
		} else if last > 0 {
			color = "#cf222e"
		}
	}
	text(b, at.x+at.w/2, at.y+at.h-28, `font-size="40" font-weight="bold" text-anchor="middle" fill="`+color+`"`, value)
}

// graph draws the series over time, with three grid lines.
func graph(b *strings.Builder, at box, answer []Series, r Range, unit string) {
	top := upperBound(answer)
	for i := range 3 {
		y := at.y + at.h - i*at.h/2
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%[2]d" stroke="#eaeef2"/>`+"\n", at.x, y, at.x+at.w)
		text(b, at.x-6, y+4, `text-anchor="end" fill="#57606a"`, number(top*float64(i)/2, unit))
	}
	text(b, at.x, at.y+at.h+15, `fill="#57606a"`, "0 s")
	text(b, at.x+at.w, at.y+at.h+15, `text-anchor="end" fill="#57606a"`,
		fmt.Sprintf("%.0f s", r.To.Sub(r.From).Seconds()))
	for i, s := range answer {
		fmt.Fprintf(
			b,
			`<path d="%s" fill="none" stroke="%s" stroke-width="1.6"/>`+"\n",
			path(at, s.Points, r, top),
			colors[i%len(colors)],
		)
	}
}

// path returns a line through the points. It leaves a gap of more than two steps open.
func path(at box, points []Point, r Range, top float64) string {
	var d strings.Builder
	var before time.Time
	for _, p := range points {
		if math.IsNaN(p.Value) {
			continue
		}
		x := float64(at.x) + float64(at.w)*float64(p.At.Sub(r.From))/float64(r.To.Sub(r.From))
		y := float64(at.y+at.h) - float64(at.h)*p.Value/top
		move := "L"
		if p.At.Sub(before) > 2*r.Step {
			move = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", move, x, y)
		before = p.At
	}
	return d.String()
}

// upperBound returns a round number at least as high as every value.
func upperBound(answer []Series) float64 {
	top := 0.0
	for _, s := range answer {
		for _, p := range s.Points {
			if !math.IsNaN(p.Value) {
				top = max(top, p.Value)
			}
		}
	}
	if top == 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(top)))
	for _, step := range []float64{1, 2, 4, 6, 8, 10} {
		if step*unit >= top {
			return step * unit
		}
	}
	return 10 * unit
}

func number(v float64, unit string) string {
	switch {
	case unit == "s" && v > 0 && v < 1:
		return fmt.Sprintf("%.3g ms", v*1000)
	case unit == "s":
		return fmt.Sprintf("%.3g s", v)
	case unit == "ops":
		return fmt.Sprintf("%.3g/s", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func text(b *strings.Builder, x, y int, attributes, words string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(words))
}
