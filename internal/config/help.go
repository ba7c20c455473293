package config

import (
	"fmt"
	"io"
	"reflect"
	"text/tabwriter"
)

// Variable is one line of the table of variables.
type Variable struct {
	Name    string
	Type    string
	Default string // "required" for a variable that has no default and must be set
	Meaning string
}

// Variables returns every variable, in the order of the table. It reads the tags
// as envconfig.Usagef does (a test compares them): that one's text/template
// keeps the linker from dropping methods and makes the program 3 MB larger.
func Variables() []Variable {
	var rows []Variable
	for _, v := range new(Config).variables() {
		row := Variable{v.name, reflect.TypeOf(v.parser).Elem().Name(), v.tag.Get("default"), v.tag.Get("desc")}
		if v.has("required") {
			row.Default = "required"
		}
		rows = append(rows, row)
	}
	return rows
}

// Help writes the table of the variables: name, type, default, meaning.
func Help(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VARIABLE\tTYPE\tDEFAULT\tMEANING")
	for _, v := range Variables() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", v.Name, v.Type, v.Default, v.Meaning)
	}
	return table.Flush()
}
