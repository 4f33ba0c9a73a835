package web

import (
	_ "embed"
	"io"

	"github.com/spf13/cobra"
)

//go:embed licenses.txt
var licenses string // written by .ci/licenses

func newLicenses() *cobra.Command {
	return &cobra.Command{
		Use:   "licenses",
		Short: "Print the licences of all software in this binary",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), licenses)
			return err
		},
	}
}
