# Import of reference data: caisseauto import. Arguments are those of the program:
#   powershell -NoProfile -File import_caisseauto.ps1 --config C:\ProgramData\caisseauto\till.toml
# They are taken as they stand, so that there is no param() here.
. (Join-Path $PSScriptRoot 'caisseauto.ps1')
exit (Invoke-Caisseauto 'import_caisseauto' 'import' (Join-Path $env:ProgramData 'caisseauto\till.toml') $args)
